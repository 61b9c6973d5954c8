def draw(results, report): pass
