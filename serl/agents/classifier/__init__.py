"""A classifier of images that tells success, to serve as a reward."""

from serl.agents.classifier.config import ClassifierConfig as ClassifierConfig
from serl.agents.classifier.config import NetworkConfig as NetworkConfig
from serl.agents.classifier.config import cpu as cpu
from serl.agents.classifier.config import serl as serl
from serl.agents.classifier.saving import Classifier as Classifier
from serl.agents.classifier.saving import load as load
from serl.agents.classifier.saving import save as save
