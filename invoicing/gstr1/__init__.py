"""The monthly return of outward supplies, GSTR-1, made from issued documents."""
