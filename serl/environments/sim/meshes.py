"""Coarser meshes for drawing: a policy's pictures are small and many."""

import mujoco
import numpy as np

_CELLS = 12  # that the longest side of a mesh is cut into
_FINEST = 0.005  # m, of a cell; what is smaller looks the same


def simplify(model: mujoco.MjModel) -> None:
  """Coarsens the meshes of `model` in place, for drawing and nothing else.

  The vertices in one cell of a grid move to their mean, and the triangles that
  thereby lose their area are dropped (vertex clustering: Rossignac and Borrel
  1993, Multi-resolution 3D approximations for rendering complex scenes). Those
  that remain keep their normals, so that they are lit as the original.

  Args:
    model: a copy that no physics runs on: collisions read the same meshes.
  """
  for mesh in range(model.nmesh):
    start = model.mesh_vertadr[mesh]
    vertices = model.mesh_vert[start : start + model.mesh_vertnum[mesh]]
    start = model.mesh_faceadr[mesh]
    faces = slice(start, start + model.mesh_facenum[mesh])
    clusters = _cluster(vertices)
    corners = clusters[model.mesh_face[faces]]  # [faces, 3]
    kept = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    count = np.count_nonzero(kept)
    for per_face in (
      model.mesh_face,
      model.mesh_facenormal,
      model.mesh_facetexcoord,
    ):
      per_face[start : start + count] = per_face[faces][kept]
    model.mesh_facenum[mesh] = count
    sizes = np.bincount(clusters)
    for axis in range(3):
      sums = np.bincount(clusters, vertices[:, axis])
      vertices[:, axis] = (sums / sizes)[clusters]


def _cluster(vertices: np.ndarray) -> np.ndarray:
  """Returns the index of each vertex's cluster, [vertices]."""
  low, extent = vertices.min(axis=0), np.ptp(vertices, axis=0)
  cell = max(extent.max() / _CELLS, _FINEST)
  cells = ((vertices - low) / cell).astype(int)
  flat = np.ravel_multi_index(cells.T, cells.max(axis=0) + 1)
  return np.unique(flat, return_inverse=True)[1]
