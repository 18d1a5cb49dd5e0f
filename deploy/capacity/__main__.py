from deploy.capacity.app import main

main()
