"""Networks built from the spiking blocks, and the registry that makes them by name."""

from bitspike.model.registry import create_model, list_models, model_defaults, register_model
from bitspike.model.resnet18 import ResNet18
from bitspike.model.resnet19 import ResNet19
from bitspike.model.resnet20 import ResNet20
from bitspike.model.sequence import SequenceNet
from bitspike.model.small import Small8, Small28, SmallEvents, SmallTouch, SmallVGG
from bitspike.model.vgg16 import VGG16
from bitspike.model.vggsnn import VGGSNN

__all__ = [
    "VGG16",
    "VGGSNN",
    "ResNet18",
    "ResNet19",
    "ResNet20",
    "SequenceNet",
    "Small8",
    "Small28",
    "SmallEvents",
    "SmallTouch",
    "SmallVGG",
    "create_model",
    "list_models",
    "model_defaults",
    "register_model",
]
