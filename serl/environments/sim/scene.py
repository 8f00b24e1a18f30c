"""The room the arm stands in: solver settings, table, light, cameras."""

import mujoco

# What a rigid object on the table needs to neither sink nor creep.
CONTACT = {
  'solref': (0.004, 1.0),
  'solimp': (0.95, 0.99, 0.001, 0.5, 2.0),
  'condim': 4,
}


def make_spec(timestep: float) -> mujoco.MjSpec:
  """Returns an empty room as a spec to attach the arm and a task to.

  Args:
    timestep: of the physics, s.
  """
  spec = mujoco.MjSpec()
  spec.option.timestep = timestep
  spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
  # What the gripper's model asks for: `attach` drops the options of a child.
  spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
  spec.option.impratio = 10
  spec.option.iterations = 50
  spec.option.ls_iterations = 20
  # A diverged simulation must be seen, not quietly begin anew.
  spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
  spec.visual.headlight.ambient = (0.35, 0.35, 0.35)
  spec.visual.headlight.diffuse = (0.4, 0.4, 0.4)
  spec.visual.map.znear = 0.01
  spec.stat.center = (0.3, 0.0, 0.3)
  spec.stat.extent = 1.0
  world = spec.worldbody
  # The size is the picture's; a plane collides everywhere.
  world.add_geom(
    name='table',
    type=mujoco.mjtGeom.mjGEOM_PLANE,
    pos=(0.35, 0.0, 0.0),
    size=(0.65, 0.75, 0.01),
    rgba=(0.78, 0.74, 0.68, 1.0),
  )
  world.add_light(
    pos=(0.9, 0.4, 2.2),
    dir=(-0.25, -0.2, -1.0),
    diffuse=(0.5, 0.5, 0.5),
    # Its reflection on the table would wash out what the wrist sees.
    specular=(0.0, 0.0, 0.0),
  )
  spec.add_texture(
    name='sky',
    type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
    builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
    rgb1=(0.92, 0.94, 0.96),
    rgb2=(0.55, 0.62, 0.70),
    width=128,
    height=128,
  )
  # For people: from the side of the cube, looking back at the base.
  world.add_camera(
    name='picture',
    pos=(1.5, 0.62, 0.8),
    xyaxes=(-0.441, 0.897, 0.0, -0.347, -0.17, 0.922),
    fovy=42.0,
  )
  # For policies: all that the tool can reach, and little else.
  world.add_camera(
    name='front',
    pos=(1.12, 0.0, 0.6),
    xyaxes=(0.0, 1.0, 0.0, -0.469, 0.0, 0.883),
    fovy=43.0,
  )
  return spec
