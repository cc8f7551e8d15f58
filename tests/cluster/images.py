def provide_images(settings, context): pass
