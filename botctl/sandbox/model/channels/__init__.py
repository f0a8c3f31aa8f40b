"""The types of channels, and the validation of requests that create and change them.

The JSON of a request comes in; valid fields come out, or 50035 is raised. Read `bodies` first.
"""
