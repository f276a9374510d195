"""The pages about people: signing in, workspaces, sharing, devices. Views decode, call and render."""
