"""A fake system under proof: one stdlib program that plays any service, with faults on order."""
