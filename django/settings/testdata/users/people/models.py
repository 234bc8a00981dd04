from .attributes import *
from .managers import *
from .states import *
