from image_svc.reconcile.app import main

main()
