from presign_svc.app import main

main()
