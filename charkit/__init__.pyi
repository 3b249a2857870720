__version__: str

from charkit.answers.accuracy.estimate import estimate as estimate
from charkit.answers.embedding.embed import embed as embed
from charkit.answers.evaluation.evaluate import evaluate as evaluate
from charkit.answers.labelling.next_labels import next_labels as next_labels
from charkit.answers.ranking.encoders import rank_encoders as rank_encoders
from charkit.answers.ranking.layers import layers as layers
from charkit.answers.similarity.compare import compare_tasks as compare_tasks
from charkit.answers.similarity.nearest import nearest_tasks as nearest_tasks
from charkit.api import encode as encode
from charkit.api import fetch as fetch
from charkit.api import verify as verify
from charkit.config import EncodeOptions as EncodeOptions
from charkit.encoders.encoder import Encoder as Encoder
from charkit.encoders.load import load_encoder as load_encoder
from charkit.encoders.states import LayerStates as LayerStates
from charkit.errors import CharkitError as CharkitError
from charkit.heads.sweep.sweep import sweep as sweep
from charkit.machine import doctor as doctor
from charkit.report.pages.run import write_report as write_report
from charkit.store.store import Store as Store
from charkit.tasks import Split as Split
from charkit.tasks import Task as Task
from charkit.tasks import generated_task as generated_task
from charkit.tasks import load_task as load_task
