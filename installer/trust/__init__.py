"""Says whether a medium may be installed from: who made it, whether it is whole, and whether it is newer than the box.

Pure decisions over bytes and frozen data (`metadata`: one file; `chain`: from what is trusted to the list; `manifest`:
what the list says), one call of stock OpenSSL (`signature`), a reader of metadata (`medium`) and one of files
(`payload`) that copies nothing out of the staging folder. Standard library only: it runs before anything is trusted.
"""
