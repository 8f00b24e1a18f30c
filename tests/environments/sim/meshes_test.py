"""Coarse meshes have the shape of the fine ones, and less of all else."""

import copy

import mujoco
import numpy as np
import pytest

from serl.environments.sim import meshes
from serl.environments.sim import pick_cube


def make_sphere(subdivisions):
  spec = mujoco.MjSpec()
  mesh = spec.add_mesh(name='sphere', scale=(0.1, 0.1, 0.1))
  mesh.make_sphere(subdivisions)
  spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname='sphere')
  return spec.compile()


def triangles(model, mesh):
  """The corners of each drawn triangle, [faces, 3, 3] m."""
  first = model.mesh_faceadr[mesh]
  faces = model.mesh_face[first : first + model.mesh_facenum[mesh]]
  return model.mesh_vert[model.mesh_vertadr[mesh] + faces]


def area(corners):
  edges = corners[:, 1:] - corners[:, :1]
  return np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2


def test_a_sphere_stays_one():
  model = make_sphere(4)
  fine = triangles(model, 0)
  meshes.simplify(model)
  coarse = triangles(model, 0)
  assert len(coarse) < len(fine) / 3
  radii = np.linalg.norm(coarse, axis=-1)
  # A cell's mean lies inside the sphere, by less than the cell.
  assert radii.min() > 0.1 - 0.2 / 12
  assert radii.max() <= 0.1001
  assert area(coarse) == pytest.approx(4 * np.pi * 0.1**2, rel=0.05)
  # Closed: every edge is walked once in each direction.
  start = model.mesh_faceadr[0]
  faces = model.mesh_face[start : start + model.mesh_facenum[0]]
  corners = [tuple(corner) for corner in triangles(model, 0).reshape(-1, 3)]
  assert len(faces) * 3 == len(corners)
  edges = {}
  for face in range(len(faces)):
    for side in range(3):
      ends = corners[3 * face + side], corners[3 * face + (side + 1) % 3]
      edges[ends] = edges.get(ends, 0) + 1
  assert all(edges.get(ends[::-1]) == n for ends, n in edges.items())


def test_a_small_mesh_stays_as_it_is():
  # A box's corners are in cells of their own.
  spec = mujoco.MjSpec()
  corners = np.array(np.meshgrid(*[(-0.05, 0.05)] * 3)).reshape(3, 8).T
  spec.add_mesh(name='box', uservert=corners.ravel())
  spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname='box')
  model = spec.compile()
  before = triangles(model, 0).copy()
  meshes.simplify(model)
  np.testing.assert_allclose(triangles(model, 0), before, atol=1e-7)


def test_the_arm_is_a_tenth():
  fine = pick_cube.PickCube().model
  coarse = copy.copy(fine)
  meshes.simplify(coarse)
  drawn = fine.geom_dataid[fine.geom_group == 2]
  assert coarse.mesh_facenum[drawn].sum() < fine.mesh_facenum[drawn].sum() / 10
  # Only what fits into a cell, as a screw does, is gone.
  gone = drawn[coarse.mesh_facenum[drawn] == 0]
  for mesh in gone:
    start = fine.mesh_vertadr[mesh]
    vertices = fine.mesh_vert[start : start + fine.mesh_vertnum[mesh]]
    assert np.ptp(vertices, axis=0).max() < 0.01
