"""What people read: tables, figures and pages.  One module a page; `style` and `tables` are shared."""
