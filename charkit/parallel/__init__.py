"""Run many jobs here, in several processes, on a Ray cluster or through Slurm."""

from charkit.parallel.choice import ExecutorChoice, Shard, executor_from
from charkit.parallel.jobs import Executor, InProcess, JobFailure, check_failures, run_jobs
from charkit.parallel.processes import Processes, local_executor

__all__ = [
    "Executor",
    "ExecutorChoice",
    "InProcess",
    "JobFailure",
    "Processes",
    "Shard",
    "check_failures",
    "executor_from",
    "local_executor",
    "run_jobs",
]
