"""Do gradients of a few labelled texts predict what fine-tuning adds?"""
