"""The way back: a space as a file that LogoMesh itself opens.

    space -> reading (records, a batch at a time) -> rows (cells of LogoMesh's tables) -> sqlite or document

What LogoMesh's own columns cannot hold travels in seals (`migration.sealing`), so that an
import of an export gives the same digest.
"""
