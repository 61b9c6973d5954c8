import jax
from jaxtyping import PyTree


def leaf_names(tree: PyTree) -> list[str]:
    """Names the leaves of a pytree by their paths, in flattening order.

    Args:
        tree: any pytree.

    Returns:
        Distinct names such as `"model.layers.0.weight"`; a lone leaf is `"value"`.
    """
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]
    names = [
        jax.tree_util.keystr(path, simple=True, separator=".") or "value"
        for path in paths
    ]
    # Two paths can print alike (an integer key and a list index): number them apart.
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        count = seen.get(name, 0)
        seen[name] = count + 1
        if count:
            names[index] = f"{name}~{count}"
    return names
