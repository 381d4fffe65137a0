"""From source notebooks to what students and instructors get: releases, and the sample class."""
