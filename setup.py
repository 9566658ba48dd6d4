"""The repository root is the package `filmwright`: its sub-packages are found here, never listed by hand."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

NOT_SHIPPED = ["tests*", "docs*", "benchmarks*", "build*", "dist*"]


class BuildWithoutThisFile(build_py):
    """Leaves setup.py, which lies in the package's folder, out of the wheel."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        return [found for found in super().find_package_modules(package, package_dir) if found[1] != "setup"]


setup(
    cmdclass={"build_py": BuildWithoutThisFile},
    package_dir={"filmwright": "."},
    packages=["filmwright", *(f"filmwright.{name}" for name in find_packages(exclude=NOT_SHIPPED))],
    package_data={
        "filmwright.templates": ["*.yaml", "*.j2", "prompts/*.j2"],
        "filmwright.generator": ["weights/**/*"],
        "filmwright.training": ["recipes/*.yaml"],
    },
)
