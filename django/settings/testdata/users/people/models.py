from .attributes import *
from .indirect import *
from .managers import *
from .states import *
