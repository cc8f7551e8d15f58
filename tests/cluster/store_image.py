def import_store_image(settings):
    pass
