"""The types of channels, and the forms that create and change them.

The JSON of a request comes in; checked fields come out, or 50035 is raised. Read `forms` first.
"""
