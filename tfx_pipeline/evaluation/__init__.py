"""The ranking gate: TFMA metrics over whole candidate lists, the Evaluator's configuration, and its report.

Used by the pipeline as

    Evaluator(..., eval_config=eval_config(settings), module_path=evaluation.__name__)

where `module_path` lets Evaluator find `custom_eval_shared_model`.
"""

from tfx_pipeline.evaluation.click_metric import ClickMetric
from tfx_pipeline.evaluation.config import eval_config
from tfx_pipeline.evaluation.metric import RankingMetric
from tfx_pipeline.evaluation.report import EvaluationReport, SliceReport, print_report, read_report
from tfx_pipeline.evaluation.shared_model import custom_eval_shared_model

__all__ = [
    "ClickMetric",
    "EvaluationReport",
    "RankingMetric",
    "SliceReport",
    "custom_eval_shared_model",
    "eval_config",
    "print_report",
    "read_report",
]
