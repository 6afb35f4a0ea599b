"""From query collections and labels to an artifact that ``topiccore`` serves."""
