from image_svc.app import main

main()
