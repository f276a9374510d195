"""The pages of a space. What they change goes through the push service, with the rules of every push."""
