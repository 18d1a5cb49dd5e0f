"""One construct per unit, written with the plain CloudFormation classes: the template holds what is read here."""
