"""PickCube: lift a cube from the table, with the constants of SERL.

Luo et al. 2024, SERL, arXiv 2401.16013; the task is its PandaPickCube-v0.
"""

from collections.abc import Mapping
import dataclasses
import math
import operator
from typing import Annotated

import dm_env
import mujoco
import numpy as np

from serl import configs
from serl import specs
from serl.environments.sim import arm as arm_lib
from serl.environments.sim import environment
from serl.environments.sim import impedance as impedance_lib
from serl.environments.sim import scene
from serl.environments.wrappers import action_guard

# Faster than the real arm's parameters, as SERL's simulation is: under those
# and their clip of 1 cm the cube cannot be lifted within the 100 steps.
_IMPEDANCE = impedance_lib.Impedance(
  translational_stiffness=1500.0,
  translational_damping=150.0,
  rotational_stiffness=200.0,
  rotational_damping=12.0,
)

EPISODE_STEPS = 100

_Timestep = Annotated[float, configs.Bounds(1e-6, 10)]  # s
_Length = Annotated[float, configs.Bounds(0, 10, '(]')]  # m
_Coordinate = Annotated[float, configs.Bounds(-10, 10)]  # m
_Position = tuple[_Coordinate, _Coordinate, _Coordinate]
# Of sliding, turning and rolling, as MuJoCo has it.
_Friction = Annotated[tuple[configs.NonNegative, ...], configs.length(3)]


@dataclasses.dataclass(frozen=True)
class Config:
  """The constants of the task."""

  control_timestep: _Timestep = 0.02  # s, of one action
  physics_timestep: _Timestep = 0.002  # s
  episode_steps: configs.Count = EPISODE_STEPS  # actions, the time limit
  translation_scale: _Length = 0.1  # m the target moves at an action of 1
  # Of the gripper's range, at an action of 1.
  gripper_scale: configs.Positive = 1.0
  # The box that the target of the tool stays in, m, base frame.
  workspace_low: _Position = (0.2, -0.3, 0.0)
  workspace_high: _Position = (0.6, 0.3, 0.5)
  # Where the cube starts, uniformly in x and y, m, base frame.
  block_low: tuple[_Coordinate, _Coordinate] = (0.25, -0.25)
  block_high: tuple[_Coordinate, _Coordinate] = (0.55, 0.25)
  block_half_size: _Length = 0.02  # m
  block_mass: configs.Positive = 0.1  # kg
  block_friction: _Friction = (1.0, 0.005, 0.0001)
  success_lift: _Length = 0.2  # m the cube must rise; also scales the reward
  reach_weight: configs.NonNegative = 0.3  # of the reward's reach term
  # 1/m, how fast reach falls with the distance.
  reach_decay: configs.NonNegative = 20.0
  lift_weight: configs.NonNegative = 0.7  # of the reward's lift term
  # Observations saturate: positions this far outside the workspace, velocities
  # at this speed. Both scale what the networks see.
  position_margin: configs.NonNegative = 0.02  # m
  velocity_bound: configs.Positive = 1.0  # m/s
  # What is seen instead of the cube's position; without cameras, that is given.
  cameras: tuple[configs.Name, ...] = ()
  image_size: configs.Pixels = 128  # height and width
  impedance: impedance_lib.Impedance = _IMPEDANCE

  def __post_init__(self):
    configs.check(self)
    substeps = self.control_timestep / self.physics_timestep
    configs.demand(
      self,
      (
        'control_timestep',
        round(substeps) >= 1 and math.isclose(substeps, round(substeps)),
        f'a multiple of physics_timestep, {self.physics_timestep}',
      ),
      *(
        (
          f'{what}_low',
          all(map(operator.le, getattr(self, f'{what}_low'), high)),
          f'none of them above {what}_high, {high}',
        )
        for what, high in (
          ('workspace', self.workspace_high),
          ('block', self.block_high),
        )
      ),
      ('cameras', len(set(self.cameras)) == len(self.cameras), 'each once'),
    )


VISION = Config(cameras=('front', 'wrist'))


class _Task:
  """The cube, what is seen of it and what lifting it is worth."""

  def __init__(self, config: Config):
    self._config = config
    self.control_timestep = config.control_timestep
    self.episode_steps = config.episode_steps
    self.model = _make_model(config)
    self.data = mujoco.MjData(self.model)
    self._arm = arm_lib.Arm(self.model, self.data, config.impedance)
    joint = self.model.joint('block')
    # Views into the simulation's memory.
    self._block_pose = self.data.qpos[joint.qposadr[0] : joint.qposadr[0] + 7]
    self._block_position = self.data.body('block').xpos
    self._substeps = round(config.control_timestep / config.physics_timestep)
    self._low = np.array(config.workspace_low)
    self._high = np.array(config.workspace_high)
    self._observation_spec = _observation_spec(config)
    bounds = self._observation_spec.values()
    self._minimum = np.concatenate([spec.minimum for spec in bounds])
    self._maximum = np.concatenate([spec.maximum for spec in bounds])
    ends = np.cumsum([spec.shape[0] for spec in bounds]).tolist()
    self._parts = {
      name: slice(start, end)
      for name, start, end in zip(self._observation_spec, [0, *ends], ends)
    }
    self._start_height = 0.0

  def begin_episode(self, rng: np.random.Generator) -> None:
    config = self._config
    mujoco.mj_resetData(self.model, self.data)
    self._block_pose[:2] = rng.uniform(config.block_low, config.block_high)
    self._arm.reset()
    self._start_height = self._block_position[2]

  def act(self, action: np.ndarray) -> None:
    config = self._config
    # The target moves on from where it was told to be, not from where the tool
    # is: it leads the tool, and the lead is the force.
    target = self._arm.target_position + config.translation_scale * np.asarray(
      action[:3], float
    )
    closing = self._arm.gripper_command + config.gripper_scale * float(
      action[3]
    )
    self._arm.set_target(np.minimum(np.maximum(target, self._low), self._high))
    self._arm.set_gripper(min(max(closing, 0.0), 1.0))
    self._arm.step(self._substeps)

  @property
  def block_position(self) -> np.ndarray:
    return self._block_position.copy()

  def observe(self) -> dict[str, np.ndarray]:
    values = np.concatenate(
      (
        () if self._config.cameras else self._block_position,
        (self._arm.gripper_command,),
        self._arm.tcp_position,
        self._arm.tcp_velocity,
      ),
      dtype=np.float32,
      casting='same_kind',
    )
    values = np.minimum(np.maximum(values, self._minimum), self._maximum)
    return {name: values[part] for name, part in self._parts.items()}

  def reward_terms(self) -> Mapping[str, float]:
    config = self._config
    distance = math.dist(self._block_position, self._arm.tcp_position)
    lift = min(max(self._lift() / config.success_lift, 0.0), 1.0)
    return {
      'reach': config.reach_weight * math.exp(-config.reach_decay * distance),
      'lift': config.lift_weight * lift,
    }

  def progress(self) -> tuple[bool, Mapping[str, float]]:
    lift = self._lift()
    return lift >= self._config.success_lift, {'lift': lift}

  def action_spec(self) -> specs.BoundedArray:
    return specs.BoundedArray((4,), np.float32, -1.0, 1.0, name='action')

  def observation_spec(self) -> dict[str, specs.BoundedArray]:
    return dict(self._observation_spec)

  def reward_spec(self) -> specs.BoundedArray:
    highest = self._config.reach_weight + self._config.lift_weight
    return specs.BoundedArray((), np.float32, 0.0, highest, name='reward')

  def _lift(self) -> float:
    """How far the cube is above where it started, m."""
    return float(self._block_position[2] - self._start_height)


def _make_model(config: Config) -> mujoco.MjModel:
  spec = scene.make_spec(config.physics_timestep)
  arm_lib.attach(spec)
  half_size = config.block_half_size
  block = spec.worldbody.add_body(name='block', pos=(0.4, 0.0, half_size))
  block.add_freejoint(name='block')
  block.add_geom(
    name='block',
    type=mujoco.mjtGeom.mjGEOM_BOX,
    size=(half_size, half_size, half_size),
    mass=config.block_mass,
    friction=config.block_friction,
    rgba=(0.80, 0.20, 0.16, 1.0),
    **scene.CONTACT,
  )
  return spec.compile()


def _observation_spec(config: Config) -> dict[str, specs.BoundedArray]:
  # One range for both positions: what the networks see as equal is equal.
  low = np.subtract(config.workspace_low, config.position_margin)
  high = np.add(config.workspace_high, config.position_margin)
  speed = np.full(3, config.velocity_bound)
  bounds = {
    'block_pos': (low, high),
    'gripper_pos': (np.zeros(1), np.ones(1)),
    'tcp_pos': (low, high),
    'tcp_vel': (-speed, speed),
  }
  if config.cameras:
    del bounds['block_pos']
  return specs.bounded(bounds)


class PickCube(environment.SimEnvironment):
  """Lift the cube by 0.2 m within 100 steps of 0.02 s.

  Action, [4] float32 in [-1, 1]: how far the target of the tool moves along x,
  y, z (times 0.1 m; the target stays in the workspace), and how far the gripper
  closes (1 closes an open one entirely, -1 opens it).

  Observation, float32, base frame, saturating at the bounds of the spec:
    block_pos: [3] m, the centre of the cube.
    gripper_pos: [1] the commanded closing, 0 (open) to 1 (closed).
    tcp_pos: [3] m, the tool centre point.
    tcp_vel: [3] m/s.
  With cameras, block_pos gives way to an image [size, size, 3] uint8 by the
  name of each: 'front' faces the arm, 'wrist' is on the gripper and sees its
  fingers.

  Reward: 0.3 exp(-20 |block - tcp|) + 0.7 clip(lift / 0.2, 0, 1), both lengths
  in metres, so at most 1 a step. Lifting the cube does not end the episode.

  `episode_metrics`: 'success', 'lift' (the highest, m), 'reward/reach' and
  'reward/lift'.
  """

  def __init__(self, seed: int = 0, config: Config = Config()):
    """Creates the environment.

    Args:
      seed: of where the cube starts.
      config: the constants of the task.

    Raises:
      ValueError: if there is no such camera or no such image size.
    """
    super().__init__(_Task(config), seed, config.cameras, config.image_size)

  @property
  def block_position(self) -> np.ndarray:
    """Where the cube's centre is, [3], m, base frame: what experts go by."""
    return self._task.block_position


def make(
  seed: int = 0,
  config: Config = Config(),
) -> dm_env.Environment:
  """Returns PickCube behind a guard that checks and clips the actions.

  Args:
    seed: of where the cube starts.
    config: the constants of the task.
  """
  return action_guard.ActionGuard(PickCube(seed, config))


def make_vision(
  seed: int = 0,
  config: Config = VISION,
) -> dm_env.Environment:
  """Returns PickCube as two cameras see it, behind the same guard.

  Args:
    seed: of where the cube starts.
    config: the constants of the task.

  Raises:
    ValueError: if the config names no cameras, or one that is not there.
  """
  if not config.cameras:
    raise ValueError(
      f'cameras={config.cameras}; expected some: begin with `VISION`.'
    )
  return make(seed, config)
