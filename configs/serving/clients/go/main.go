// Ranks candidates for a user over gRPC, with stubs generated from the Python client's protoset: neither TensorFlow's
// nor TensorFlow Serving's sources are needed.
//
// Generate, in a folder that holds this file (protoc, protoc-gen-go and protoc-gen-go-grpc must be installed):
//
//	python -m serving.client protoset --out serving.protoset
//	protoc --descriptor_set_in=serving.protoset --go_out=. --go-grpc_out=. \
//	    --go_opt=module=shop --go_opt=Mtensorflow.proto=shop/tensorflow \
//	    --go_opt=Mtensorflow.serving.proto=shop/serving \
//	    --go-grpc_opt=module=shop --go-grpc_opt=Mtensorflow.proto=shop/tensorflow \
//	    --go-grpc_opt=Mtensorflow.serving.proto=shop/serving \
//	    tensorflow.proto tensorflow.serving.proto
//
// Run (`describe` of the Python client names the model's context columns; all of them must be sent):
//
//	go mod init shop && go mod tidy
//	go run . -address localhost:8500 -model ranker -user 17850 -context country=DE,gender=,age_band= 22423 85123A
//
// Compiled and run with Go 1.19, google.golang.org/grpc 1.33 and google.golang.org/protobuf 1.28. Since grpc 1.63
// grpc.NewClient and insecure.NewCredentials replace grpc.Dial and grpc.WithInsecure, which still work.
package main

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"math"
	"sort"
	"strings"
	"time"

	"google.golang.org/grpc"

	"shop/serving"
	"shop/tensorflow"
)

// Replicas behind one name (dns:///serving:8500) are asked by turns; what is unavailable is asked again (since grpc 1.40
// without being switched on).
const serviceConfig = `{
  "loadBalancingConfig": [{"round_robin": {}}],
  "methodConfig": [{
    "name": [{"service": "tensorflow.serving.PredictionService"}],
    "retryPolicy": {
      "maxAttempts": 4, "initialBackoff": "0.05s", "maxBackoff": "1s", "backoffMultiplier": 2,
      "retryableStatusCodes": ["UNAVAILABLE"]
    }
  }]
}`

func main() {
	address := flag.String("address", "localhost:8500", "of gRPC")
	model := flag.String("model", "ranker", "the model's name on the server")
	user := flag.String("user", "", "of the shop")
	query := flag.String("query", "", "words that the user searches for")
	columns := flag.String("context", "", "the model's context columns, such as country=DE,gender=")
	timeout := flag.Duration("timeout", 10*time.Second, "of the call")
	flag.Parse()
	candidates := flag.Args()

	connection, err := grpc.Dial(*address, grpc.WithInsecure(), grpc.WithDefaultServiceConfig(serviceConfig))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()

	// A batch of one. What is not known is sent as its neutral value; lists have at least one column.
	inputs := map[string]*tensorflow.TensorProto{
		"user_id":             texts(*user),
		"profile_text":        texts(""),
		"query":               texts(*query),
		"request_time":        numbers(0),
		"history_item_ids":    textList(),
		"history_event_types": textList(),
		"history_timestamps":  numberList(),
		"history_length":      numbers(0),
		"candidate_item_ids":  textList(candidates...),
		"candidate_text":      textList(make([]string, len(candidates))...),
		"candidate_count":     numbers(int64(len(candidates))),
	}
	for _, pair := range strings.FieldsFunc(*columns, func(r rune) bool { return r == ',' }) {
		parts := strings.SplitN(pair+"=", "=", 3)
		inputs[parts[0]] = texts(parts[1])
	}
	request := &serving.PredictRequest{
		ModelSpec:    &serving.ModelSpec{Name: *model, SignatureName: "rank"},
		Inputs:       inputs,
		OutputFilter: []string{"scores"},
	}
	answer, err := serving.NewPredictionServiceClient(connection).Predict(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	scores := floats(answer.Outputs["scores"])
	places := make([]int, len(candidates))
	for place := range places {
		places[place] = place
	}
	sort.SliceStable(places, func(i, j int) bool { return scores[places[i]] > scores[places[j]] })
	fmt.Printf("version %d\n", answer.ModelSpec.GetVersion().GetValue())
	for _, place := range places {
		fmt.Printf("%s\t%.4f\n", candidates[place], scores[place])
	}
}

// texts is a tensor of one text a request: [B].
func texts(values ...string) *tensorflow.TensorProto {
	tensor := &tensorflow.TensorProto{Dtype: tensorflow.DataType_DT_STRING, TensorShape: shape(len(values))}
	for _, value := range values {
		tensor.StringVal = append(tensor.StringVal, []byte(value))
	}
	return tensor
}

// textList is a tensor of the texts of one request: [1, L], L >= 1.
func textList(values ...string) *tensorflow.TensorProto {
	if len(values) == 0 {
		values = []string{""}
	}
	tensor := texts(values...)
	tensor.TensorShape = shape(1, len(values))
	return tensor
}

// numbers is a tensor of one number a request: [B].
func numbers(values ...int64) *tensorflow.TensorProto {
	return &tensorflow.TensorProto{
		Dtype: tensorflow.DataType_DT_INT64, TensorShape: shape(len(values)), Int64Val: values,
	}
}

// numberList is a tensor of the numbers of one request: [1, L], L >= 1.
func numberList(values ...int64) *tensorflow.TensorProto {
	if len(values) == 0 {
		values = []int64{0}
	}
	tensor := numbers(values...)
	tensor.TensorShape = shape(1, len(values))
	return tensor
}

func shape(sizes ...int) *tensorflow.TensorShapeProto {
	made := &tensorflow.TensorShapeProto{}
	for _, size := range sizes {
		made.Dim = append(made.Dim, &tensorflow.TensorShapeProto_Dim{Size: int64(size)})
	}
	return made
}

// floats reads either form of a float tensor: bytes, little end first, or a list.
func floats(tensor *tensorflow.TensorProto) []float32 {
	content := tensor.GetTensorContent()
	if len(content) == 0 {
		return tensor.GetFloatVal()
	}
	values := make([]float32, len(content)/4)
	for place := range values {
		values[place] = math.Float32frombits(binary.LittleEndian.Uint32(content[4*place:]))
	}
	return values
}
