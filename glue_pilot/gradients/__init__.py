"""Do gradients of a few labelled texts tell what fine-tuning will add?"""
