"""Training: recipes, the loop, augmentation, checkpoints, evaluation."""

from bitspike.locking import FolderInUse
from bitspike.runtime import Evaluation, evaluate_integers
from bitspike.train.augment import AugmentConfig
from bitspike.train.config import Recipe
from bitspike.train.ema import MovingAverage
from bitspike.train.evaluate import evaluate
from bitspike.train.firing import FiringRates
from bitspike.train.from_recipe import build_net, load_data, train_on, train_recipe
from bitspike.train.interrupt import TrainingStopped
from bitspike.train.losses import per_step_cross_entropy, spike_rate_loss, time_mean_cross_entropy
from bitspike.train.model_file import ModelHeader, load_model, read_header, save_model
from bitspike.train.recipe_file import find_recipe, list_recipes, read_recipe
from bitspike.train.run import TrainResult, choose_device, train

__all__ = [
    "AugmentConfig",
    "Evaluation",
    "FiringRates",
    "FolderInUse",
    "ModelHeader",
    "MovingAverage",
    "Recipe",
    "TrainResult",
    "TrainingStopped",
    "build_net",
    "choose_device",
    "evaluate",
    "evaluate_integers",
    "find_recipe",
    "list_recipes",
    "load_data",
    "load_model",
    "per_step_cross_entropy",
    "read_header",
    "read_recipe",
    "save_model",
    "spike_rate_loss",
    "time_mean_cross_entropy",
    "train",
    "train_on",
    "train_recipe",
]
