"""A reward learned from images of the goal."""

from serl.agents.vice.builder import VICEBuilder as VICEBuilder
from serl.agents.vice.config import VICEConfig as VICEConfig
from serl.agents.vice.config import cpu as cpu
