import ast
import re

eval("1 + 1")  # forbidden: no-eval
exec("x = 1")  # forbidden: no-eval
ast.literal_eval("1")
re.compile("eval")
