"""Tables of settings that only environments on AWS have, one module for each; `settings.AwsEnvironment` holds them."""
