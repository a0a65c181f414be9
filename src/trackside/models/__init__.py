"""What people and scripts ask the registry: `trackside models …` lists, shows, finds and fetches versions."""
