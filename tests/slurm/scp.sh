#!/usr/bin/env bash
# Copies the last argument but one to the last, whatever machines they name.
from=${*: -2:1}
to=${*: -1}
exec cp "${from#*:}" "${to#*:}"
