"""Documents beside the invoice: credit notes, receipt vouchers, refund vouchers."""
