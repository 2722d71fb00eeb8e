"""Says whether a medium may be installed from: who made it, whether it is whole, and whether it is newer than the box.

Pure decisions over bytes and frozen data (`manifest`), one call of stock OpenSSL (`signature`) and one reader of files
(`payload`) that copies nothing out of the staging folder. Standard library only: it runs before anything is trusted.
"""
