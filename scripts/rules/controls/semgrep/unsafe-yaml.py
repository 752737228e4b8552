import yaml

yaml.load("a: 1")  # forbidden: unsafe-yaml
yaml.load("a: 1", Loader=yaml.Loader)  # forbidden: unsafe-yaml
yaml.load("a: 1", yaml.UnsafeLoader)  # forbidden: unsafe-yaml
yaml.unsafe_load("a: 1")  # forbidden: unsafe-yaml
yaml.full_load("a: 1")  # forbidden: unsafe-yaml
yaml.safe_load("a: 1")
yaml.load("a: 1", Loader=yaml.SafeLoader)
