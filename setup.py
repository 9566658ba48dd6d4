"""The repository root is the package `filmwright`: its sub-packages are found here, never listed by hand."""

from setuptools import find_packages, setup

NOT_SHIPPED = ["tests*", "docs*", "benchmarks*", "build*", "dist*"]

setup(
    package_dir={"filmwright": "."},
    packages=["filmwright", *(f"filmwright.{name}" for name in find_packages(exclude=NOT_SHIPPED))],
    package_data={
        "filmwright.templates": ["*.yaml", "*.j2"],
        "filmwright.generator": ["weights/**/*"],
    },
)
