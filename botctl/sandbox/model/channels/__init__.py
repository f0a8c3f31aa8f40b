"""The types of channels, and the validation of requests that create and change them.

The JSON of a request becomes valid fields, or error 50035 (invalid body) is raised. Read `bodies` first.
"""
