"""The certificate that gateway and console show: made by a CA of the box's own, or the site's, taken in after checks.

`names` says what may stand in it, `authority` makes one, `reading` tells what one says, `checks` judges one that is
brought, `keeping` holds the files of a home. What a handshake is like is `appliance.tls`.
"""
