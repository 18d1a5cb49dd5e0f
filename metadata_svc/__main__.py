from metadata_svc.app import main

main()
