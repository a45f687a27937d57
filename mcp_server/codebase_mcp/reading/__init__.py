"""The tools read_code, list_files and list_repositories: what the indexes hold, as it is stored."""
