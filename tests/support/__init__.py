"""What tests share: projects, servers, workflows, terminals, tables."""
