"""Carries any file or folder over a link of one direction: numbered chunks, their list first, nothing ever asked back.

`parcel` says what travels (pure), `sending` writes it into a drop folder, `receiving` puts it together again. This
keeps bytes whole, no more: whose they are is judged by what they are, a signed medium or an encrypted backup.
"""
