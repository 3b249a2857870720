from charkit.learners.outcomes import LEARNERS as LEARNERS
from charkit.learners.outcomes import compare_learners as compare_learners
from charkit.learners.tuning import Recipe as Recipe
from charkit.learners.tuning import Tuned as Tuned
from charkit.learners.tuning import default_recipe as default_recipe
from charkit.learners.tuning import fine_tune as fine_tune
