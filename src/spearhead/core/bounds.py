"""What a number in a scenario file may be, as annotations beside the options; its schema enforces and tells them."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Lt

Count = Annotated[int, Ge(1)]
Whole = Annotated[int, Ge(0)]
"""Zero often means that there is no limit."""
Tokens = Annotated[int, Interval(ge=64, le=1_048_576)]
"""Of a context, or of what has to fit into one."""
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
Part = Annotated[float, Ge(0), Lt(1)]
"""A share that is never the whole."""
Likeness = Annotated[float, Interval(gt=0, le=1)]
"""A similarity from which two things count as alike."""
Channels = Literal[1, 3, 4]
"""Of a picture: grey, colours, colours and transparency."""
